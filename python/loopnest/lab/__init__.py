"""The lab: is a kernel right (verify), how fast is it (measure, bench), what do the figures say (claims, tables)."""
