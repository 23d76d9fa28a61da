import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adatom.core.errors import FileError
from adatom.core.runs import (
    RunRecord,
    find_checksum,
    logger,
    open_run,
    read_record,
    write_record,
)


def make_record(**changes):
    names = ("input", "config", "model", "image", "calibration", "summary")
    values = {name: {} for name in names}
    return RunRecord(
        **values | {"task": "analyze", "started": "", "seed": None, "device": "cpu"} | changes,
        warnings=(),
        timings={"find": np.float32(0.5)},
    )


def test_folder_appears_only_when_whole(tmp_path):
    place = tmp_path / "deep" / "first.adatom"
    with open_run(place) as folder:
        assert not place.exists()
        logger.info("found 7 columns")
        write_record(make_record(seed=np.int64(3), summary={"rate": float("nan")}), folder)
    record = read_record(place)
    assert (record["seed"], record["summary"]["rate"]) == (3, None)
    assert set(record["versions"]) >= {"python", "adatom", "torch", "numpy"}
    assert "found 7 columns" in (place / "log.txt").read_text()
    assert [path.name for path in place.parent.iterdir()] == ["first.adatom"]


def test_failed_run_leaves_the_earlier_one(tmp_path):
    place = tmp_path / "a.adatom"
    for seed in (1, 2):
        with open_run(place) as folder:
            write_record(make_record(seed=seed), folder)
    with pytest.raises(ZeroDivisionError), open_run(place) as folder:
        write_record(make_record(seed=3 // 0), folder)
    assert read_record(place)["seed"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.adatom"]


def test_killed_run_leaves_the_earlier_one(tmp_path):
    place = tmp_path / "a.adatom"
    with open_run(place) as folder:
        write_record(make_record(seed=1), folder)
    program = (
        "import sys, time\n"
        "from adatom.core.runs import open_run\n"
        "with open_run(sys.argv[1]) as folder:\n"
        "    (folder / 'run.json').write_text('{')\n"
        "    print(folder, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        part = Path(killed.stdout.readline().strip())
        killed.kill()
    assert part.name.startswith(".")
    assert part.is_dir()
    assert read_record(place)["seed"] == 1
    assert [path.name for path in tmp_path.glob("*.adatom")] == ["a.adatom"]


def test_disk_full_is_a_file_error(tmp_path):
    with (
        pytest.raises(FileError, match="No space left on device"),
        open_run(tmp_path / "a.adatom"),
    ):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_other_things_are_not_replaced(tmp_path):
    (tmp_path / "a.adatom").mkdir()
    (tmp_path / "a.adatom" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileError, match="no run folder"), open_run(tmp_path / "a.adatom"):
        pass
    with pytest.raises(FileError, match="must end in"), open_run(tmp_path / "results"):
        pass
    assert (tmp_path / "a.adatom" / "thesis.txt").read_text() == "years of work"


def test_checksum_of_file_and_folder(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert find_checksum(tmp_path / "a") == known
    before = find_checksum(tmp_path)
    (tmp_path / ".b.unfinished").mkdir()
    (tmp_path / ".b.unfinished" / "log").write_text("of a run")
    assert find_checksum(tmp_path) == before
    (tmp_path / "a").rename(tmp_path / "b")
    assert find_checksum(tmp_path) != before
