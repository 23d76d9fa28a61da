import numpy as np

from adatom.optics.dose import DoseConfig, calculate_dose, load_published_doses
from adatom.plots.dose import draw_dose
from adatom.plots.style import write_figure


def test_data_set_and_every_reference_are_on_the_chart(tmp_path):
    config = DoseConfig(beam_current=30, dwell_time=4, pixel_size=0.1, frames=20)
    dose, published = calculate_dose(config), load_published_doses()
    ax = draw_dose(dose, published, name="movie.dm4")
    points = {tuple(np.ravel(line.get_data())) for line in ax.lines if len(line.get_xdata()) == 1}
    assert (dose.dose_per_frame, dose.total_dose) in points
    assert len(points) == len(published) + 1
    shown = [text.get_text() for text in ax.texts]
    assert all(any(reference in text for text in shown) for reference in published["reference"])
    assert all(f"[{number}]" in shown for number in range(1, len(published) + 1))
    assert "movie.dm4" in [text.get_text() for text in ax.get_legend().get_texts()]
    write_figure(ax, tmp_path / "dose.pdf")


def test_a_data_set_beyond_the_published_ones_is_inside_the_axes():
    config = DoseConfig(beam_current=300, dwell_time=1000, pixel_size=0.05, frames=500)
    dose = calculate_dose(config)
    ax = draw_dose(dose, load_published_doses())
    assert ax.get_xlim()[0] < dose.dose_per_frame < ax.get_xlim()[1]
    assert ax.get_ylim()[0] < dose.total_dose < ax.get_ylim()[1]
