"""From the schemas in `src/ottla/wire/schema/` to the classes in `src/ottla/wire/generated/`.

python -m tools.wiregen            # write them
python -m tools.wiregen --check    # fail if they are not up to date
"""
