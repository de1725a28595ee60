"""A real RTSP camera for tests: H.264 from GStreamer's RTSP server on loopback. Run by the system's own Python.

    /usr/bin/python3 tests/helpers/rtsp_server.py PORT [USER PASSWORD]

A moving ball on port PORT of 127.0.0.1 under /yard, 320x240 at 15 frames a second; it prints "ready" when it listens.
Needs Debian's python3-gi, gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-good and gstreamer1.0-plugins-ugly.
"""

import sys

import gi  # type: ignore

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # type: ignore

PARTS = ("videotestsrc", "x264enc", "rtph264pay", "rtpbin")
PIPELINE = """
( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=15/1
  ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay name=pay0 pt=96 config-interval=1 )
"""


def main(port, user=None, password=None):
    Gst.init(None)
    missing = [part for part in PARTS if Gst.ElementFactory.find(part) is None]
    if missing:
        sys.exit(f"missing parts of GStreamer: {', '.join(missing)}")
    if port == "check":
        return
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service=port)
    factory = GstRtspServer.RTSPMediaFactory(launch=PIPELINE, shared=True)
    if user:
        token = GstRtspServer.RTSPToken()
        token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "watcher")
        auth = GstRtspServer.RTSPAuth()
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
        roles = GstRtspServer.RTSPPermissions()
        for right in ("media.factory.access", "media.factory.construct"):
            roles.add_permission_for_role("watcher", right, True)
        factory.set_permissions(roles)
    server.get_mount_points().add_factory("/yard", factory)
    if not server.attach(None):
        sys.exit(f"port {port} is taken")
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
