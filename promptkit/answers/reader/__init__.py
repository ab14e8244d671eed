"""The reader of free replies: where a reply concludes, and what it says there."""
