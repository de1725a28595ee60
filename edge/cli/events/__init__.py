"""``bear-alarm events``: list, show, lock, review and export what happened.

command   the commands and their options, and how they find events in the journal
show      events as lines, in words and as JSON
evidence  the folders of an event's pictures and clips, and the zip of ``events export``
review    what a person saw in an event
"""
