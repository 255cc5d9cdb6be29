"""The environments: emulators, their score, their groups, their stacked frames."""
