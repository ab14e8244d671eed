"""promptkit as a server for other programs: pipelines and verbs over the Model Context Protocol."""
