"""The page of the device: what the alarm sees and did, in a browser of the same network. No cloud, no account.

server    HTTP in a thread of its own, which the alarm never waits for
guard     who may ask: host, origin, size, session or token, CSRF
accounts  the owner, the viewers, tokens, sessions
app       the page's parts put together, and what they share
telemetry /healthz and /metrics, without any of the above
"""
