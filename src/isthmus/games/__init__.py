"""Networks as congestion games: equilibria, certificates, path flows. Road networks are in `isthmus.games.traffic`."""
