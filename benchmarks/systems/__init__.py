"""The systems under test behind one interface (`base.System`), and the catalogue of their names."""
