"""The search space: parameters, choices, candidates, and where the choices of each parameter come from."""
