# complete.bash SCRIPT WORD...: prints what bash would complete the last word to, one a line. An equals sign is a word of its own.
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
_orlop
printf '%s\n' "${COMPREPLY[@]}"
