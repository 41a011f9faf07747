"""`python -m causepath agent.py` runs a program with the plugin on, also where Python reads no
`.pth` file, as of a folder that `pip install --target` filled."""

from causepath.program import run

if __name__ == "__main__":
    run()
