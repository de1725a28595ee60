"""What can go wrong, each with one sentence for the person at the keyboard.

Every message says what is wrong, the value seen, and what to do. The command prints it and
exits with code 2; nobody sees a traceback for their own mistake.
"""


class BearAlarmError(Exception):
    """Base of every error that is the user's to mend."""


class SourceError(BearAlarmError, OSError):
    """A camera, clip, stream or folder cannot be read."""


class PictureError(BearAlarmError, ValueError):
    """A still picture is missing, truncated or not a picture."""


class ModelError(BearAlarmError, ValueError):
    """A model file is missing, damaged, or not one this version can use."""


class CatalogError(BearAlarmError, ValueError):
    """A folder or manifest of pictures cannot be used as it is."""


class OptionError(BearAlarmError, ValueError):
    """A command's option has a value that makes no sense."""


class MissingExtraError(BearAlarmError, ImportError):
    """A command needs an optional part that is not installed."""
