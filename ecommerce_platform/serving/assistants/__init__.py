"""An MCP server over the read layer, for assistants and agents: tools in `server.py`, how they are reached in `transport.py`.
Roles, limits and masking are the API's."""
