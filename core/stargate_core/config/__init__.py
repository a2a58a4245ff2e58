"""The declarative configuration: its schema, and how a file becomes one."""
