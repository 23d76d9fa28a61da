import json
from dataclasses import asdict

import numpy as np
import pytest

from adatom.core.errors import ConfigError, FileError
from adatom.optics.dose import DoseConfig, calculate_dose
from adatom.workflows.dose import find_dose, format_dose, write_dose_chart


@pytest.fixture
def movie(tmp_path):
    """A movie of 5 frames of 40 × 50 pixels, 8 Å by 5 Å, whose file names the current."""
    np.save(tmp_path / "movie.npy", np.ones((5, 40, 50), np.float32))
    said = {
        "probe_current": "20 pA",
        "field_of_view_y": 8.0,
        "field_of_view_x": 5.0,
        "field_of_view_units": "angstrom",
    }
    (tmp_path / "movie.json").write_text(json.dumps(said))
    return tmp_path / "movie.npy"


def test_a_file_fills_in_what_is_not_given(movie):
    found = find_dose(movie, config=DoseConfig(dwell_time=2.0))
    expected = DoseConfig(
        beam_current=20, dwell_time=2, pixel_size=0.02**0.5, shape=(40, 50), frames=5
    )
    assert asdict(found) == pytest.approx(asdict(calculate_dose(expected)))
    assert find_dose(movie, config=expected.model_copy(update={"frames": 9})).n_frames == 9
    text = format_dose(found)
    assert text.splitlines()[0].split() == ["a", "frame", "5", "frames"]
    assert "dose rate" in text


def test_what_no_file_says_is_asked_for(movie):
    with pytest.raises(ConfigError, match="dwell_time: must be given in µs"):
        find_dose(movie)


def test_the_image_of_a_file_with_several_is_named(tmp_path):
    path = tmp_path / "two.npz"
    np.savez(path, first=np.ones((8, 8)), second=np.ones((3, 8, 8)))
    config = DoseConfig(beam_current=20, dwell_time=2, pixel_size=0.1)
    assert find_dose(path, "second", config=config).n_frames == 3
    with pytest.raises(FileError, match="ask for one of first, second"):
        find_dose(path, config=config)
    with pytest.raises(FileError, match="has no image 'third'"):
        find_dose(path, "third", config=config)


def test_the_chart_is_a_picture_of_its_ending(movie, tmp_path):
    found = find_dose(movie, config=DoseConfig(dwell_time=2.0))
    write_dose_chart(found, tmp_path / "charts" / "dose.png", name=movie.name)
    assert (tmp_path / "charts" / "dose.png").read_bytes()[1:4] == b"PNG"
    with pytest.raises(ConfigError, match=r"out: must end in one of \.png, \.pdf, \.svg"):
        write_dose_chart(found, tmp_path / "dose.txt")
