import neostandard from 'neostandard'

export default [
  ...neostandard({ ts: true, ignores: ['dist', '.engines', '.tap', 'node_modules'] }),
  {
    rules: {
      '@stylistic/max-len': ['error', { code: 110, ignoreUrls: true, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true }]
    }
  },
  {
    files: ['**/*.ts'],
    rules: { '@typescript-eslint/no-explicit-any': 'error', '@typescript-eslint/consistent-type-imports': 'error' }
  }
]
