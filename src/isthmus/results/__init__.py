"""Records: frozen dataclasses of numpy arrays that are the file format. No torch, no computing, no drawing."""
