"""What techniques compute with: Python in a sandbox, arithmetic and equations, SQL over tables, search in documents."""
