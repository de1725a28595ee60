"""``bear-alarm events``: list, show, lock, review and export what happened.

command   the commands and their options
journal   open the journal, and find events in it
evidence  the folders of an event's pictures and clips
review    what a person saw in an event
listing   one line for each event
details   all of one event, in words
facts     the same for ``--json``
archive   the zip of ``events export``
words     how an event, its time and its clock are written
"""
