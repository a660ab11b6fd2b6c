"""What the exchangeability of hidden units does to the landscape: equivalent networks, what joins them, what is redundant."""
