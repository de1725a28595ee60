"""The alarm as a web app for phones: the folder of its files, and a server for a local network."""
