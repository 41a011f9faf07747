"""``causepath completion SHELL``: what a shell needs to complete commands, options and files."""

from typing import Annotated, Final, Literal

from cyclopts import Parameter

from causepath_analyzer.cli.output import write

_FILES: Final = {
    # Where no command begins so, it is a file.
    "bash": ("complete -F ", "complete -o bashdefault -o default -F "),
}


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="The shell that completes.")],
    /,
) -> None:
    """Print what makes a shell complete causepath.

    bash: `eval "$(causepath completion bash)"` in ~/.bashrc

    zsh: `causepath completion zsh > "${fpath[1]}/_causepath"`

    fish: `causepath completion fish > ~/.config/fish/completions/causepath.fish`
    """
    from causepath_analyzer.cli import app  # which names this command

    script = app.generate_completion(prog_name="causepath", shell=shell)
    if shell in _FILES:
        script = script.replace(*_FILES[shell])
    write(script.encode() + b"\n", None)
