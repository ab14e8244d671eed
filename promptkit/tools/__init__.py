"""Tools of techniques: Python in a sandbox, arithmetic and equations, SQL over tables, search in documents."""
