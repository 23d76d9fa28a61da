import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adatom import cli
from adatom.core.errors import ImageError
from adatom.workflows.choose import find_inputs


def run(capsys, *arguments):
    code = cli.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["analyse"], 'Unknown command "analyse"'),
        (["analyze"], "PATHS requires an argument"),
        (["analyze", "a.tif", "--pixel-size", "-1"], "pixel_size: input should be greater than 0"),
        (["analyze", "a.tif", "--focus"], "focus: tuple should have at least 1 item"),
        (["analyze", "a.tif", "--modle", "x"], "Unknown option: --modle"),
        (["simulate", "haadf_mx2", "--out", "x", "--n", "0"], "--n"),
        (["simulate", "haadf_mx2", "--out", "x", "--workers", "0"], "--workers"),
        (["dose", "--dwell-time", "-1"], "dwell_time: input should be greater than 0"),
        (["vibrations", "a.xyz"], "--temperature requires an argument"),
        (["vibrations", "a.xyz", "--temperature", "0"], "temperature: input should be greater"),
    ],
)
def test_wrong_commands_exit_with_2(capsys, arguments, message):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("adatom: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert "pydantic" not in err


@pytest.mark.parametrize(
    "command",
    [
        *("analyze", "simulate", "train", "evaluate", "info", "dose", "demo", "vibrations"),
        *("tableau", "restore", "library add", "library list", "library show"),
    ],
)
def test_every_command_has_help_with_an_example(capsys, command):
    code, out, _ = run(capsys, *command.split(), "--help")
    assert code == 0
    assert f"Example: adatom {command}" in out


def test_files_with_a_focus_are_one_series(capsys, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        cli, "_analyze_one", lambda files, place, config, *_: seen.append((files, place, config))
    )
    names = [tmp_path / f"{name}.tif" for name in "abc"]
    code, _, _ = run(capsys, "analyze", *names, "--focus", "-30", "20", "70.5", "--out", "o")
    assert code == 0
    ((files, place, config),) = seen
    assert files == names
    assert place == Path("o/a.adatom")
    assert config.focus == (-30, 20, 70.5)


def test_a_model_is_evaluated_on_its_kind_of_images_alone(capsys):
    code, out, err = run(capsys, "evaluate", "haadf-mx2", "hrtem_mos2", "--n", "1")
    assert (code, out) == (1, "")
    assert "recipe: must be of HAADF images for haadf-mx2 (got HRTEM)" in err


def test_options_come_from_the_configuration(capsys):
    _, out, _ = run(capsys, "analyze", "--help")
    assert all(name in out for name in ("--model", "--material", "--pixel-size", "--item"))


def test_one_bad_file_does_not_stop_the_others(capsys, tmp_path, monkeypatch):
    for name in ("a.tif", "b.tif", "c.tif"):
        (tmp_path / name).touch()

    def analyze_one(files, place, config, as_json, report):
        (path,) = files
        assert config.material == "MoS2"
        if path.name == "a.tif":
            raise ImageError(f"{path}: is\nbad")
        if path.name == "b.tif":
            raise OSError(28, "No space left on device")
        cli.print_json({"input": path})

    monkeypatch.setattr(cli, "_analyze_one", analyze_one)
    code, out, err = run(capsys, "analyze", tmp_path, "--material", "MoS2", "--json")
    assert code == 1
    assert [Path(json.loads(line)["input"]).name for line in out.splitlines()] == [
        "a.tif",
        "b.tif",
        "c.tif",
    ]
    assert err.splitlines() == [
        f"adatom: error: {tmp_path}/a.tif: is bad",
        f"adatom: error: {tmp_path}/b.tif: No space left on device",
    ]


def test_missing_file_and_empty_folder(capsys, tmp_path):
    code, _, err = run(capsys, "analyze", tmp_path / "no.dm3", "--out", tmp_path)
    assert (code, err.count("\n")) == (1, 1)
    assert "no.dm3: does not exist" in err
    code, _, err = run(capsys, "analyze", tmp_path)
    assert code == 1
    assert "holds no image" in err


def test_inputs_are_files_folders_and_patterns(tmp_path):
    for name in ("b.tif", "a.png", "notes.txt", ".hidden.tif"):
        (tmp_path / name).touch()
    (tmp_path / "c.zarr").mkdir()
    found = [path.name for path in find_inputs([str(tmp_path)])]
    assert found == ["a.png", "b.tif", "c.zarr"]
    found = find_inputs([str(tmp_path / "*.tif"), str(tmp_path / "b.tif")])
    assert [path.name for path in found] == ["b.tif"]
    assert [path.name for path in find_inputs([str(tmp_path / "c.zarr")])] == ["c.zarr"]
    assert find_inputs([str(tmp_path)], as_movies=True) == [tmp_path]


def test_interrupt_exits_with_130(capsys, monkeypatch):
    def stop(names, *, as_movies):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "find_inputs", stop)
    code, _, err = run(capsys, "analyze", "a.tif")
    assert (code, err) == (130, "adatom: interrupted\n")


def test_closed_pipe_is_no_error():
    read_end, write_end = os.pipe()
    os.close(read_end)
    code = "import sys; from adatom.cli import main; sys.exit(main(['analyze', '--help']))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, check=False)
    os.close(write_end)
    assert b"Traceback" not in done.stderr


def test_dose_prints_a_table_json_or_one_error(capsys):
    command = ("dose", "--beam-current", 30, "--dwell-time", 4, "--pixel-size", 0.1)
    code, out, err = run(capsys, *command, "--frames", 20, "--material", "graphene")
    assert (code, err) == (0, "")
    assert out.splitlines()[2].split() == ["dose", "(e/Å²)", "7.49e+04", "1.498e+06"]
    assert "electrons per atom of graphene" in out
    code, out, _ = run(capsys, *command, "--json")
    assert json.loads(out)["total_dose"] == pytest.approx(74898, abs=1)
    code, out, err = run(capsys, *command[:3])
    assert (code, out) == (1, "")
    assert err.startswith("adatom: error: pixel_size: must be given in Å")
    code, _, err = run(capsys, *command, "--out", "chart.jpg")
    assert code == 1
    assert "out: must end in one of .png, .pdf, .svg (got 'chart.jpg')" in err


def test_vibrations_print_a_table_or_one_error(capsys, tmp_path, monkeypatch):
    import pandas as pd

    import adatom.workflows.vibrations as workflow

    row = {"element": "Mo", "coordination": 6, "n_atoms": 9}
    row |= dict.fromkeys(("u2_in_plane", "u2_out_of_plane"), 0.0031)
    row |= dict.fromkeys(("u2_in_plane_err", "u2_out_of_plane_err"), 0.0002)
    result = workflow.VibrationsResult(tmp_path, pd.DataFrame([row]), ("short",))
    command = ("vibrations", tmp_path / "a.xyz", "--temperature", 300, "--out", tmp_path)
    code, _, err = run(capsys, *command)
    assert (code, err) == (1, f"adatom: error: {tmp_path}/a.xyz: does not exist, or is no file\n")
    monkeypatch.setattr(workflow, "find_vibrations", lambda *_, **__: result)
    code, out, err = run(capsys, *command)
    assert code == 0
    assert "0.00310 ± 0.00020" in out
    assert err == f"adatom: warning: {tmp_path}/a.xyz: short\n"
    _, out, _ = run(capsys, *command, "--json")
    assert json.loads(out)["amplitudes"][0]["n_atoms"] == 9
