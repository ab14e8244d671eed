"""Better pipelines for a stated budget, and the proof: the space, the search, the confirmation, and what is written.

tuning = Tuning(suite, models=models, store=store, wishes=Wishes(limits=Limits(calls=300)))
tuned = hand_over(await tuning.run(), tuning.suite, store)
"""
