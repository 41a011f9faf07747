"""``causepath completion SHELL``: what a shell needs to complete commands, options and files."""

import re
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from causepath_analyzer.cli.output import write

_ZSH_FILE: Final = re.compile(
    r"(?P<positional>'\*:[^':]+)'(?= )|(?P<option>\]:(?:config|prices|output|o|save|ca-file))'(?= )"
)
_ZSH_END: Final = """
if [ "$funcstack[1]" = "_causepath" ]; then
  _cyclopts_causepath "$@"
else
  compdef _cyclopts_causepath causepath
fi
"""
"""What calls it where the script is a file of ``fpath``, and else announces it."""


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
    if shell == "bash":  # where no command begins so, it is a file
        script = script.replace("complete -F ", "complete -o bashdefault -o default -F ")
    elif shell == "zsh":
        script = _ZSH_FILE.sub(lambda found: f"{found[0][:-1]}:_files'", script)
        named = "_describe -t commands 'command' commands\n"
        script = script.replace(named, f"{named}      _files\n") + _ZSH_END
    write(script.encode() + b"\n", None)
