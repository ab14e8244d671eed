"""Functions whose cost data or a model decides, run in processes that can be killed."""
