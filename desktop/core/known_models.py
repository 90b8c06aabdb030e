"""Every model that this profile knows by name: Snug's own catalogue, the user's `models.toml`, and imported lists."""

from __future__ import annotations

from desktop.core.paths import AppPaths
from engines.catalog import Catalog, load_catalog
from engines.catalog_files import load_with_own


def load_known_models(paths: AppPaths) -> tuple[Catalog, tuple[str, ...]]:
    """The catalogue, and whole sentences about entries of the user's that were left out.

    Raises: CatalogError when Snug's own list is missing or broken.
    """
    return load_with_own(load_catalog(), paths.config_directory)
