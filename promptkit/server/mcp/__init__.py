"""promptkit as an MCP server: pipelines and verbs as tools for agents."""
