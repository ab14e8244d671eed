"""The functions behind `import promptkit` and the verbs of the command line: a module each, and their session."""
