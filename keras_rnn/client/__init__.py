"""What an export for another runtime holds beside the model: two files of plain Python, copied as they are.

They import neither this package nor TensorFlow, and each other by the name that they have in the export.
"""
