"""The benchmark of scenes runs the files that it is given."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from research.benchmark import scenes
from research.benchmark.__main__ import main


@pytest.mark.parametrize("gsd", ["0", "2.5"])
def test_files_in_place_of_drawn_rasters(tmp_path, monkeypatch, capsys, gsd):
    path = tmp_path / "plot.tif"
    with rasterio.open(path, "w", driver="GTiff", height=60, width=80, count=1, dtype="uint8") as raster:
        raster.write(np.ones((1, 60, 80), "uint8"))
    run = []

    def note(args, scene, classes, output):
        run.append((scene, classes, args.gsd))
        return scenes.SceneRun(1.0, (0.0048, 3.0), (1.0, 2.0), 321.0)

    monkeypatch.setattr(scenes, "_run", note)
    assert main(["scenes", "--files", str(path), "--gsd", gsd, "--classes", "4", "9"]) == 0
    assert run == [(path, 4, float(gsd)), (path, 9, float(gsd))]
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert row[:3] == ["60", "x", "80"] and row[3] == "plot.tif" and row[-2:] == ["1", "321"]
