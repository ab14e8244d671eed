"""The tools that promptkit ships: a calculator, programs, queries over tables, search in documents."""
