"use strict";
// The notice of a change is shown once: a later visit to this address does not say it again.

const address = new URL(location.href);
for (const name of ["saved", "done", "all"]) address.searchParams.delete(name);
history.replaceState(null, "", address);
