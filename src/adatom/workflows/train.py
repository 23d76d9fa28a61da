"""From a recipe to a model on disk, of whatever kind the recipe is."""

from pathlib import Path

from adatom.core.progress import Report, ignore_progress


def train_recipe(
    recipe: str | Path,
    out: str | Path,
    *,
    start: str | None = None,
    resume: bool = False,
    report: Report = ignore_progress,
) -> Path:
    """Train the network of a recipe: one that finds columns, or one that restores images.

    Parameters
    ----------
    recipe : str or Path
        Name of a shipped recipe, or a TOML file.
    out : str or Path
        Folder for the training and its model.
    start : str, optional
        Model to train on from: a shipped one's name, or the path of a card.
    resume : bool
        Continue the training that the folder holds.
    report : callable
        Called with (done, in all, text).

    Returns
    -------
    Path
        The model's card.

    Raises
    ------
    ConfigError
        If the recipe breaks a rule.
    ModelError
        If there is no such model to start from.
    """
    from adatom.simulate.recipe import is_restore_recipe, load_recipe, read_recipe

    values, _ = read_recipe(recipe)
    if is_restore_recipe(values):
        from adatom.networks.restorer import load_restorer, save_restorer
        from adatom.restore.training import train_restorer
        from adatom.simulate.objects import load_restore_recipe

        first = load_restorer(start) if start else None
        trained = train_restorer(
            load_restore_recipe(recipe), out, start=first, resume=resume, report=report
        )
        return save_restorer(trained, out)
    from adatom.learn.build import build_model
    from adatom.networks.model import load_model

    model = load_model(start) if start else None
    return build_model(load_recipe(recipe), out, start=model, resume=resume, report=report)
