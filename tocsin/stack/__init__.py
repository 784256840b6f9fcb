"""Running the stack: which programs, with which configuration, in which order, and whether they are well."""
