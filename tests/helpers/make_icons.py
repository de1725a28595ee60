"""Render the icons of the web app for phones from its SVG, with chromium: `python tests/helpers/make_icons.py`."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import sync_playwright

ICONS = Path(__file__).parents[2] / "edge" / "phone" / "web" / "static" / "icons"
# File, side in pixels, and the style: a launcher cuts a maskable icon to its own shape, iOS rounds the corners itself.
SQUARE = "#ground { rx: 0 }"
SIZES = {
    "icon-192.png": (192, ""),
    "icon-512.png": (512, ""),
    "maskable-512.png": (512, f"{SQUARE} #bear {{ transform: translate(25px, 25px) scale(0.9) }}"),
    "apple-touch-icon.png": (180, SQUARE),
}


def main() -> None:
    """Write every icon."""
    svg = (ICONS / "icon.svg").read_text(encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for name, (side, style) in SIZES.items():
            page = browser.new_page(viewport={"width": side, "height": side})
            page.set_content(f"<style>body {{ margin: 0 }} svg {{ display: block; width: 100vw }} {style}</style>{svg}")
            page.screenshot(path=ICONS / name, omit_background=True)
        browser.close()


if __name__ == "__main__":
    main()
