"""Claims about detection methods of the literature: does the figure that each gives a model mean a backdoor?"""
