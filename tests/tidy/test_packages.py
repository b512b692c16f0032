"""`src/ottla/README.md` and the layer contract name every package, and nothing else."""

from tools.layers import SOURCE, layers, purposes


def packages() -> set[str]:
    return {path.parent.name for path in SOURCE.glob("*/__init__.py")}


def test_the_readme_names_every_package() -> None:
    assert set(purposes()) == packages()


def test_the_contract_names_every_package_once() -> None:
    named = [package for row in layers() for package in row]
    assert sorted(named) == sorted(packages())


def test_the_readme_has_the_order_of_the_contract() -> None:
    assert list(purposes()) == [package for row in layers() for package in row]


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for path in SOURCE.rglob("*.py")}
    assert not {folder for folder in folders if not (folder / "__init__.py").exists()}
