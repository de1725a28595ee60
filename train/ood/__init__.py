"""Out-of-domain: how strange a crop is to the network. Methods, how they compare on real outsiders, the command."""
