"""Record: what is kept of each event, in the journal, as pictures and clips, and as a trace."""
