"""Write edge/bears_by_country.json: `python -m tests.helpers.make_bears_by_country geofence_release.json`.

The source is ``data/model_package/geofence_release.json`` of SpeciesNet, or an excerpt with its bears.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from babel.core import get_global

from edge.species import TABLE

SOUTH_AMERICA = {"AR", "BO", "BR", "CL", "CO", "EC", "GF", "GY", "PE", "PY", "SR", "UY", "VE"}
MISSING = {  # from the source, and why they were added
    "Ursus arctos": {
        "NP": "resident in the Himalaya (Mustang, Manaslu)",
        "XK": "resident in the Sharr mountains; the source has no Kosovo",
    },
    "Ursus americanus": {
        "US-CT": "resident, says the state's Department of Energy and Environmental Protection",
        "US-RI": "resident, says the state's Department of Environmental Management",
    },
}
POLAR_BEAR = ["CA", "GL", "NO", "RU", "SJ", "US", "US-AK"]
ABOUT = {
    "source": "SpeciesNet, https://github.com/google/cameratrapai, data/model_package/geofence_release.json",
    "commit": "19c249dbbda028b56c6ce175029a404757a36a73",
    "licence": "Apache-2.0, see LICENSE",
    "codes": "ISO 3166-1 alpha-2; US-XX: a state of the USA; US: any of them",
    "changes": [
        "Ursus maritimus is not in the source. Added: Canada, Greenland, Norway with Svalbard, Russia and Alaska,",
        "the range states of the 1973 Agreement on the Conservation of Polar Bears.",
        "Tremarctos ornatus: entries outside South America were dropped.",
        *(f"{name}: {code} added: {why}." for name, codes in MISSING.items() for code, why in codes.items()),
        "All other entries are as in the source, odd ones too.",
    ],
}


def bears_by_country(geofence: dict[str, Any]) -> dict[str, list[str]]:
    """Return the codes of where each species of bear lives, from SpeciesNet's geofence."""
    alpha_2 = {code: to[0] for code, to in get_global("territory_aliases").items() if len(code) == 3}
    found = {"Ursus maritimus": POLAR_BEAR}
    for key, rule in geofence.items():
        _, _, family, genus, epithet = key.split(";")
        if family != "ursidae" or not epithet.isalpha():  # a genus, or "u. arctos", which is allowed everywhere
            continue
        codes = {alpha_2[code] for code in rule["allow"]}
        codes |= {f"{alpha_2[code]}-{state}" for code, states in rule["allow"].items() for state in states}
        name = f"{genus.capitalize()} {epithet}"
        codes = codes & SOUTH_AMERICA if genus == "tremarctos" else codes | MISSING.get(name, {}).keys()
        found[name] = sorted(codes)
    return dict(sorted(found.items()))


if __name__ == "__main__":
    species = bears_by_country(json.loads(Path(sys.argv[1]).read_bytes()))
    TABLE.write_text(json.dumps(ABOUT | {"species": species}, indent=1) + "\n", encoding="utf-8")
