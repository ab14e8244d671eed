"""MCP servers as sources of tools. Nothing of the package `mcp` is loaded before a server is asked."""
