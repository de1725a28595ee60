"""What the alarm saw, kept after it was raised: for each event a folder with stills, the best crop and a clip.

    FOLDER/2026-11-24/031207-yard-1f0c9a3b/   day and time in UTC, the camera, the event's id
        alarm.jpg        the annotated picture that the event names
        alarm-17.jpg     and that of an update that became more serious; 17 is its seq
        crop.jpg         the best look at the bear, nothing drawn on it, for training later
        full.jpg         the whole frame, nothing drawn on it, where that is asked for
        clip.mp4         5 s before to 10 s after, H.264
        event.json       the event as it was told last, and the way of its box
        keep             present: never thrown away (``edge.evidence.keep``)
    FOLDER/negatives/2026-11-24/101500-yard-77aa.jpg   random frames without an alarm

What masks hide is black in all of them. Everything is written whole or not at all, in threads of its own.
"""
