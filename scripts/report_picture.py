"""Draw the picture of the README, docs/report.png: `python scripts/report_picture.py --browser chromium`.

Reports on the zoo's digits and lets a browser of Chromium's kind photograph the top of the page.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "report.png"


def photograph(page: Path, picture: Path, browser: str, width: int, height: int) -> None:
    """Write a PNG of the first `height` pixels of a page, `width` pixels wide."""
    options = ("--headless", "--no-sandbox", "--hide-scrollbars", "--force-color-profile=srgb")
    size = f"--window-size={width},{height}"
    command = [browser, *options, size, f"--screenshot={picture}", page.resolve().as_uri()]
    subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    """Make the report and the picture."""
    import sdsnn
    from sdsnn.deploy.report.report import write_report
    from sdsnn.zoo.zoo import find

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", default="chromium", help="the program, by name or path")
    parser.add_argument("--out", type=Path, default=PICTURE)
    parser.add_argument("--width", type=int, default=1160)
    parser.add_argument("--height", type=int, default=900)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page, _ = write_report(sdsnn.report(find("digits").folder), folder)
        photograph(page, args.out, args.browser, args.width, args.height)
    print(args.out)


if __name__ == "__main__":
    main()
