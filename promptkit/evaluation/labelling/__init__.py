"""Labels that people give: the answers of a run that are asked, in their order, and the agreement of labels."""
