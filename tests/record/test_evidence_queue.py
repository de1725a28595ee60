"""What waits for the disk: jobs of one folder become one, and an alarm's picture is given up last."""

from edge.record.recorder import WriteQueue
from tests.record.test_evidence_disk import write_job


def taken(queue):
    found = []
    while (one := queue.take()) is not None:
        found.append((one.unit.name[:4], [path.name for path, _ in one.files], one.files[-1][1]()))
    return found


def test_jobs_of_a_folder_that_wait_become_one(tmp_path):
    queue = WriteQueue(8)
    assert queue.put(write_job(tmp_path, 1, ("alarm.jpg", "crop.jpg", "event.json")))
    assert queue.put(write_job(tmp_path, 2, ("event.json",)))
    for data in (b"1", b"2"):
        assert not queue.put(write_job(tmp_path, 1, ("event.json",), data=data))
    assert queue.put(write_job(tmp_path, 1, ("alarm-7.jpg", "event.json"), "update", b"3"))
    assert not queue.put(write_job(tmp_path, 1, ("crop.jpg", "event.json"), data=b"4"))
    assert taken(queue) == [
        ("0301", ["alarm.jpg", "crop.jpg", "event.json"], b"2"),
        ("0302", ["event.json"], b"x"),
        ("0301", ["alarm-7.jpg", "event.json", "crop.jpg"], b"4"),
    ]
    assert queue.dropped == 0


def test_where_too_many_wait_an_alarms_picture_goes_last(tmp_path):
    queue = WriteQueue(3)
    for number, name, type_ in (
        (1, "alarm.jpg", "new"),
        (2, "event.json", "update"),
        (3, "alarm-9.jpg", "update"),
        (4, "alarm.jpg", "new"),  # in place of 2
        (5, "alarm.jpg", "new"),  # in place of 3
        (6, "event.json", "update"),  # is given up itself
        (7, "alarm.jpg", "new"),  # in place of 1
    ):
        queue.put(write_job(tmp_path, number, (name,), type_))
    assert [unit for unit, *_ in taken(queue)] == ["0304", "0305", "0307"]
    assert queue.dropped == 4
