# complete.zsh DIRECTORY LINE: prints what an interactive zsh completes the line to, one word a line. The directory has the
# script, and is scratch.
zmodload zsh/zpty || exit 1
directory=$1
export FOUND=$directory/found
: >$FOUND
cat >$directory/setup <<'END'
fpath=(${FOUND:h} $fpath)
autoload -Uz compinit
compinit -u -d ${FOUND:h}/dump
# Writes down what would be offered, and offers nothing.
compadd() {
    if (( ${@[(I)-[OAD]*]} )); then
        builtin compadd "$@"
        return
    fi
    local -a found
    builtin compadd -O found "$@"
    # The group that a call names is found as well.
    print -rl -- ${${found:#-J}:#-default-} >>$FOUND
    return 1
}
capture() { zle complete-word; print -r -- DONE >>$FOUND }
zle -N capture
bindkey '^I' capture
END
zpty shell zsh -f -i
zpty -w shell "source $directory/setup; print -r READY >>$FOUND"
waits() {
    local -i left=600
    until grep -qx $1 $FOUND; do
        (( left-- )) || { print -u2 "no $1"; exit 1 }
        sleep 0.05
    done
}
waits READY
: >$FOUND
zpty -w -n shell "$2"$'\t'
waits DONE
zpty -d shell
grep -vxE 'DONE|' $FOUND
