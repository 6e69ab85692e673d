"""Pure rules for the cells of a table: no database, no clock."""
